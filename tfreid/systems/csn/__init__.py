"""Two images compared at several levels (Guo and Cheung 2018)."""
