// The ring in which regions keep each other's events, from the stage file's `regions`: each region's journal is in the
// next one, the last region's in the first. A mapping, and not the values of one region, so that the template is the
// same in every region. ops/stage.py (Stage.journal_region) says the same to the toolkit; a test holds them together.
'use strict';

module.exports.ring = async ({ resolveVariable }) => {
  const regions = await resolveVariable('self:custom.stage.regions');
  const policy = await resolveVariable('self:custom.stage.journal.bus_policy, true');
  const at = (index) => regions[(index + regions.length) % regions.length];
  return Object.fromEntries(
    regions.map((region, index) => [
      region,
      { Next: at(index + 1), Previous: at(index - 1), Policy: String(policy && regions.length > 1) },
    ])
  );
};
