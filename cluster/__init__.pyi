from .cluster import Cluster as Cluster
from .cluster import clusters as clusters
from .cluster import connect as connect
