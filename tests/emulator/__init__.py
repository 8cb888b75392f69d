"""The emulator, held against what Microsoft documents."""
