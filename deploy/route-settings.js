"use strict";

// RouteSettings of the API's stage, from `access.routes` of the stage file. A route that has settings of its own has
// none of the default ones, its metrics included.
module.exports = async ({ resolveVariable }) => {
  const routes = (await resolveVariable("self:custom.stage.access.routes, null")) ?? {};
  return Object.fromEntries(
    Object.entries(routes).map(([route, throttle]) => [
      route,
      {
        DetailedMetricsEnabled: true,
        ThrottlingRateLimit: throttle.rate_per_s,
        ThrottlingBurstLimit: throttle.burst,
      },
    ]),
  );
};
