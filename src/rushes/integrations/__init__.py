"""Where other programs take rushes in; each module here is imported by its program only."""
