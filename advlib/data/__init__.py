"""What is attacked, as pictures: generated road signs, real data sets, and a person's own photos."""

from advlib.data.images import Images, load_images, on_disk
from advlib.data.photos import load_photo, save_png
from advlib.data.streams import Folder

__all__ = ["Folder", "Images", "load_images", "load_photo", "on_disk", "save_png"]
