from .kernel import install as install
from .kernel import load_ipython_extension as load_ipython_extension
from .kernel import uninstall as uninstall
from .kernel import unload_ipython_extension as unload_ipython_extension
from .telemetry import publish as publish
from .telemetry import show as show
