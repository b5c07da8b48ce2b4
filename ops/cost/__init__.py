"""What the platform costs by its own usage: by service and region, per million events, and what would change it.

Usage comes from CloudWatch and from what AWS tells of the resources, prices from :mod:`ops.prices`. What always holds:
nothing is changed; a figure that AWS did not tell is never zero, it is named; a figure that is derived says from what.

A notebook calls ``collect(cloud, start, end)``, then ``bill(usage)`` and what is made of it, then the what-ifs.
"""

from ops.cost.aggregating import Intake, aggregation, aggregation_figures, intake
from ops.cost.billing import Bill, bill
from ops.cost.rates import Rate, rates
from ops.cost.usage import Usage, collect
from ops.cost.whatif import endpoint_zones, log_retention

__all__ = [
    "Bill",
    "Intake",
    "Rate",
    "Usage",
    "aggregation",
    "aggregation_figures",
    "bill",
    "collect",
    "endpoint_zones",
    "intake",
    "log_retention",
    "rates",
]
