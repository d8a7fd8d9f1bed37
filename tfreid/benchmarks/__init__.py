"""The measurements of `tfreid benchmark`; each function returns figures by name."""
