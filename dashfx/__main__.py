"""`python -m dashfx` is the command `dashfx`, for launchers that start a module: torchrun, accelerate launch."""

from dashfx.cli.main import main

if __name__ == "__main__":
    main()
