"""Image files and arrays: reading and writing RGB uint8, and MATLAB's bicubic downscaling."""
