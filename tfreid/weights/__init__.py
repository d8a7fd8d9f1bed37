"""Weight files of this project, and other libraries' weights turned into them."""
