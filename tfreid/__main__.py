"""`python -m tfreid COMMAND`: the command `tfreid`, where the scripts of packages are not found."""

from tfreid.commands.main import main

if __name__ == "__main__":
    raise SystemExit(main())
