// What a drill takes away and what it must spare, from the stage file: the conditions of deploy/resources/drills.yml and
// the rules of the alarms that stop a drill. ops/failover/templates.py names the same alarms; a test holds the two
// together.
'use strict';

const { pascal, peerCondition, peerAlarm, on, replicating } = require('./alarms.cjs');

// CloudFormation decides by text; the stage file is known when the template is made.
// A value of its own each: the linter takes conditions that compare the same texts for one.
const decided = (name, value) => ({ 'Fn::Equals': [value ? name : 'no', name] });

module.exports.conditions = async ({ resolveVariable }) => {
  const { parts, lambda_extension: extension } = await resolveVariable('self:custom.stage.failover');
  const combined = await resolveVariable('self:custom.stage.alarms.combined');
  const { consistency } = await resolveVariable('self:custom.stage.table');
  const replication = combined && parts.includes('replication');
  const api = extension && parts.includes('api');
  const processing = extension && parts.includes('processing');
  return {
    Drills: decided('drills', combined && parts.length),
    DrillsOfApi: decided('api', api),
    DrillsOfProcessing: decided('processing', processing),
    DrillsOfFunctions: decided('functions', api || processing),
    DrillsOfReplication: decided('replication', replication),
    DrillsOfStrongTable: decided('strong', replication && consistency === 'strong'),
  };
};

// Never caused by a drill: an event given up on, or a function refused for want of concurrency.
module.exports.always = async ({ resolveVariable }) => {
  const functions = await resolveVariable('self:custom.functions');
  const dlqs = await resolveVariable('self:custom.dlqs');
  const given_up = dlqs.map((name) =>
    name === 'journal-dlq' ? { 'Fn::If': ['HasJournal', on('JournalDlqAlarm'), 'FALSE'] } : on(`${pascal(name)}Alarm`)
  );
  return [...given_up, ...functions.map((name) => on(`${pascal(name)}ThrottlesAlarm`))];
};

// The API is hurt.
module.exports.api = async ({ resolveVariable }) => {
  const functions = await resolveVariable('self:custom.functions');
  const processors = await resolveVariable('self:custom.processors');
  const serving = functions.filter((name) => !processors.includes(name));
  const own = ['ApiErrorRateAlarm', 'ApiLatencyAlarm', 'HealthAlarm'];
  return [...own, ...serving.map((name) => `${pascal(name)}ErrorsAlarm`)].map(on);
};

// Processing is hurt.
module.exports.processing = async ({ resolveVariable }) => {
  const processors = await resolveVariable('self:custom.processors');
  return processors.flatMap((name) => [`${pascal(name)}ErrorsAlarm`, `${pascal(name)}QueueAgeAlarm`]).map(on);
};

// Replication from here is hurt. A region alone replicates to nobody, and of a strongly consistent table none is told of.
module.exports.replication = async ({ resolveVariable }) => {
  const regions = await replicating(resolveVariable);
  return ['FALSE', ...regions.map((region) => ({ 'Fn::If': [peerCondition(region), on(peerAlarm(region)), 'FALSE'] }))];
};
