from . import models as models
from .fit import fit as fit
from .fit import load as load
from .fit import trained as trained
from .flat import Flat as Flat
from .flat import Part as Part
from .from_model import Trained as Trained
from .from_model import from_model as from_model
