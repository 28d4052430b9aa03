from .kernel import install as install
from .kernel import uninstall as uninstall
from .telemetry import publish as publish
from .telemetry import show as show
