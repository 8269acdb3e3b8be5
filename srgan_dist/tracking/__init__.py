"""MLflow, the notebook of record (DESIGN decision 7), and the only home of mlflow: fed by a thread from the disk."""

from srgan_dist.tracking.server import UnreachableError as UnreachableError
from srgan_dist.tracking.server import check_server as check_server
from srgan_dist.tracking.server import shown as shown
from srgan_dist.tracking.server import tracking_uri as tracking_uri
from srgan_dist.tracking.server import uri_of as uri_of
from srgan_dist.tracking.tracker import Dataset as Dataset
from srgan_dist.tracking.tracker import Outcome as Outcome
from srgan_dist.tracking.tracker import Tracker as Tracker
