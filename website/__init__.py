"""What the documentation is made with: generated parts of its pages (`python -m website`), hooks of the site."""
