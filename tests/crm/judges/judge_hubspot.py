"""HubSpot's own client (hubspot-api-client) reads what is there, and writes as it does. Arguments: URL, address."""

import json
import sys

import hubspot
from hubspot.crm.contacts import ApiException, SimplePublicObjectInputForCreate
from hubspot.crm.objects.emails import (
    PublicObjectSearchRequest,
    SimplePublicObjectInput,
)
from hubspot.crm.objects.emails import (
    SimplePublicObjectInputForCreate as EmailInput,
)

url, address = sys.argv[1:]
client = hubspot.Client.create(access_token="a token", host=url)
contact = client.crm.contacts.basic_api.get_by_id(address, id_property="email", properties=["email", "firstname"])
try:
    client.crm.contacts.basic_api.create(SimplePublicObjectInputForCreate(properties={"email": address}))
    twice = 201
except ApiException as error:
    twice = error.status
request = PublicObjectSearchRequest(
    filter_groups=[{"filters": [{"propertyName": "hs_email_direction", "operator": "EQ", "value": "EMAIL"}]}],
    properties=["hs_email_subject", "hs_email_to_email", "hs_attachment_ids", "hs_email_status"],
    limit=100,
)
found = client.crm.objects.emails.search_api.do_search(request)
files = []
for email in found.results:
    for id in filter(None, (email.properties["hs_attachment_ids"] or "").split(";")):
        file = client.files.files_api.get_by_id(id)
        files.append({"name": file.name, "extension": file.extension, "size": file.size, "access": file.access})
association = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 198}
made = client.crm.objects.emails.basic_api.create(
    EmailInput(
        properties={"hs_timestamp": "1764064800000", "hs_email_direction": "EMAIL", "hs_email_subject": "theirs"},
        associations=[{"to": {"id": contact.id}, "types": [association]}],
    )
)
client.crm.objects.emails.basic_api.update(made.id, SimplePublicObjectInput(properties={"hs_email_status": "BOUNCED"}))
again = client.crm.objects.emails.basic_api.get_by_id(made.id, properties=["hs_email_status"])
client.crm.objects.emails.basic_api.archive(made.id)
print(
    json.dumps(
        {
            "contact": contact.properties,
            "twice": twice,
            "emails": [each.properties for each in found.results],
            "files": files,
            "updated": again.properties["hs_email_status"],
        }
    )
)
