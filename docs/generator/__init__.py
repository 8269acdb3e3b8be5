"""Write the pages of docs/reference that come from the code, and collect the pages of the site."""
