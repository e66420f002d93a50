"""Phone requests with and without pictures, in English and Chinese, whose calls are known."""

from sepiola.tidepool.phone.album import album
from sepiola.tidepool.phone.exchange import exchanged
from sepiola.tidepool.phone.forms import FUNCTIONS
from sepiola.tidepool.phone.pictures import PICTURES
from sepiola.tidepool.phone.requests import KINDS, requests

__all__ = ["FUNCTIONS", "KINDS", "PICTURES", "album", "exchanged", "requests"]
