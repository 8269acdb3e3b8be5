"""Small tools without knowledge of images or networks."""
