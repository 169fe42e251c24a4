# Two listeners of the unmodified Python client work for one service, and its client submits
# their jobs. Arguments: a checkout of TopChefClient, the address of the first generation's face.
import sys
import time

sys.path.insert(0, sys.argv[1])
from topchef_client import Client, ServiceListener

JOBS = 20


class Doubler(ServiceListener):
    def run(self, parameters):
        return {"value": 2 * parameters["number"]}


address = sys.argv[2]
service = Doubler.new_service(address, "doubler", "doubles", {"type": "object"}).id
submitted = Client(address).services[service]
jobs = [submitted.new_job({"number": number}) for number in range(JOBS)]
for name in ("one", "two"):
    Doubler("%s/as/%s" % (address, name), service).start()
for number, job in enumerate(jobs):
    while job.status != "COMPLETED":
        time.sleep(0.1)
    assert job.result == {"value": 2 * number}, (number, job.result)
print("all right")
