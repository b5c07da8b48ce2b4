"""AWS Fault Injection Service, played: templates and experiments of each account and region, on the AWS endpoint.

ministack has no FIS. This plays as much of it as a drill uses, in the shapes and with the errors of botocore's service
model, so that a boto3 ``fis`` client works unchanged. An experiment breaks things by writing faults into the record
that ``ops fault`` writes too, each with the experiment as its owner, and heals them when its time is over, whether
whoever started it still lives or not.

::

    service      the HTTP side: paths, paging, errors         templates    what is a valid template
    experiments  from initiating to their end                 actions      what each action takes, and breaks
    resources    functions, tables and alarms of the emulator errors       as AWS names them

Not played: filters, reports, several accounts, UpdateExperimentTemplate and the lists of actions and resource types; a
call for those is refused, never ignored. Taken and without effect: ``roleArn`` (nobody asks what it grants) and
``logConfiguration`` (nothing is logged).
https://docs.aws.amazon.com/fis/latest/userguide/what-is.html
"""

from ops.local.emulator.fis.experiments import Experiments
from ops.local.emulator.fis.resources import Resources
from ops.local.emulator.fis.service import FaultInjection

__all__ = ["Experiments", "FaultInjection", "Resources"]
