"""simple-salesforce reads what is there, and writes as it does. Arguments: URL, token, address."""

import json
import sys

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce, format_soql


class Here(HTTPAdapter):
    """The client speaks https to its host alone: the fake is on this machine, without."""

    def send(self, request, *arguments, **keywords):
        request.url = request.url.replace("https://salesforce.test", url, 1)
        return super().send(request, *arguments, **keywords)


url, token, address = sys.argv[1:]
session = requests.Session()
session.mount("https://salesforce.test", Here())
salesforce = Salesforce(instance="salesforce.test", session_id=token, session=session, version="60.0")
contacts = salesforce.query(format_soql("SELECT Id, Name FROM Contact WHERE Email = {}", address))["records"]
emails = salesforce.query("SELECT Id, Subject FROM EmailMessage")["records"]
read = salesforce.EmailMessage.get(emails[0]["Id"])
made = salesforce.Contact.create({"LastName": "Theirs", "Email": "o'theirs@customer.test"})
again = salesforce.query(format_soql("SELECT Id FROM Contact WHERE Email = {}", "o'theirs@customer.test"))["records"]
salesforce.Contact.delete(made["id"])
print(
    json.dumps(
        {"contacts": contacts, "emails": [each["Subject"] for each in emails], "read": read, "theirs": len(again)}
    )
)
