"""`python -m presence_manager`: the same as the command `presence-manager`."""

from presence_manager.hosts.cli import main

if __name__ == "__main__":
    main()
