// The stage file's prefix lists as CloudFormation wants a mapping: region, then a key, then the id.
'use strict';

const mapping = (service) => async ({ resolveVariable }) => {
  const ids = await resolveVariable(`self:custom.stage.network.${service}_prefix_lists`);
  return Object.fromEntries(Object.entries(ids).map(([region, id]) => [region, { Id: id }]));
};

module.exports.dynamodb = mapping('dynamodb');
module.exports.s3 = mapping('s3');
