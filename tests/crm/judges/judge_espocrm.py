"""espo, a client made after EspoCRM's documents, reads what is there, and writes as it does.

Arguments: URL, API key, address.
"""

import json
import sys

from espo import Espo, EspoMethods
from espo.exceptions import EspoError

url, key, address = sys.argv[1:]
client = Espo(url, key)
where = [{"type": "equals", "attribute": "emailAddress", "value": address}]
contacts = client.request(
    EspoMethods.GET, "Contact", {"where": where, "maxSize": 20, "select": "id,firstName,lastName"}
)
emails = client.request(EspoMethods.GET, "Email", {"maxSize": 20})
read = client.request(EspoMethods.GET, f"Email/{emails['list'][0]['id']}")
made = client.request(EspoMethods.POST, "Contact", {"lastName": "Theirs", "emailAddress": "theirs@customer.test"})
gone = client.request(EspoMethods.DELETE, f"Contact/{made['id']}")
try:
    client.request(EspoMethods.POST, "Contact", {"firstName": "Nobody"})
    refused = ""
except EspoError as error:
    refused = str(error)
print(json.dumps({"contacts": contacts, "emails": emails["total"], "read": read, "gone": gone, "refused": refused}))
