"""Image files and arrays: RGB uint8 in and out, MATLAB's bicubic."""
