"""What is measured of presence-manager alone, each in a process of its own."""
