"""Running generators on images of any size."""
