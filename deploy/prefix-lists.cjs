// The stage file's `network.dynamodb_prefix_lists` as CloudFormation wants a mapping: region, then a key, then the id.
'use strict';

module.exports.dynamodb = async ({ resolveVariable }) => {
  const ids = await resolveVariable('self:custom.stage.network.dynamodb_prefix_lists');
  return Object.fromEntries(Object.entries(ids).map(([region, id]) => [region, { Id: id }]));
};
