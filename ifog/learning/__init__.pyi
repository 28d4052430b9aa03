from . import models as models
from .flat import Flat as Flat
from .flat import Part as Part
