// The parts of the alarms that follow from lists: one alarm a peer region, and the composite's rule over all of them.
// Every region's template has the alarms of all regions; a condition leaves out the one that a region would have on
// itself. So the template is the same everywhere, and a region more in the stage file is all that a new pair needs.
'use strict';

const pascal = (name) => name.replace(/(^|-)([a-z0-9])/g, (_, dash, first) => first.toUpperCase());
const peerCondition = (region) => `HasPeer${pascal(region)}`;
const peerAlarm = (region) => `ReplicationTo${pascal(region)}Alarm`;
const on = (alarm) => ({ 'Fn::Sub': `ALARM("\${${alarm}}")` });

Object.assign(module.exports, { pascal, peerCondition, peerAlarm, on });

module.exports.conditions = async ({ resolveVariable }) => {
  const regions = await resolveVariable('self:custom.stage.regions');
  return Object.fromEntries(
    regions.map((region) => [
      peerCondition(region),
      { 'Fn::Not': [{ 'Fn::Equals': [{ Ref: 'AWS::Region' }, region] }] },
    ])
  );
};

// AWS/DynamoDB keeps ReplicationLatency in the region that was written to: these are the outgoing pairs of a region.
module.exports.replication = async ({ resolveVariable }) => {
  const regions = await resolveVariable('self:custom.stage.regions');
  const prefix = await resolveVariable('self:custom.prefix');
  const alarms = await resolveVariable('self:custom.stage.alarms');
  const alarm = (region) => ({
    Type: 'AWS::CloudWatch::Alarm',
    Condition: peerCondition(region),
    Properties: {
      AlarmName: `${prefix}-replication-to-${region}`,
      AlarmDescription:
        `What is written here takes ${alarms.replication_latency_ms} ms or more to appear in ${region}: reads there ` +
        'are stale, and a failover now would miss that much. First: the status of the replicas in `ops status`, then ' +
        'the AWS Health Dashboard of both regions; once it is over, the divergence runbook proves that nothing is missing.',
      Namespace: 'AWS/DynamoDB',
      MetricName: 'ReplicationLatency',
      Dimensions: [
        { Name: 'TableName', Value: prefix },
        { Name: 'ReceivingRegion', Value: region },
      ],
      Statistic: 'Average',
      Period: alarms.period_s,
      EvaluationPeriods: 5,
      DatapointsToAlarm: 3,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      Threshold: alarms.replication_latency_ms,
      // Nothing written, nothing late. Replication that stands still publishes nothing either: the divergence runbook
      // sees that, this alarm cannot.
      TreatMissingData: 'notBreaching',
    },
  });
  return Object.fromEntries(regions.map((region) => [peerAlarm(region), alarm(region)]));
};

// Every alarm but those of the dead-letter queues, which are tickets. Functions and queues have theirs by convention.
module.exports.composite = async ({ resolveVariable }) => {
  const regions = await resolveVariable('self:custom.stage.regions');
  const functions = await resolveVariable('self:custom.functions');
  const processors = await resolveVariable('self:custom.processors');
  const names = [
    'ApiErrorRateAlarm',
    'ApiLatencyAlarm',
    'HealthAlarm',
    ...functions.flatMap((name) => [`${pascal(name)}ErrorsAlarm`, `${pascal(name)}ThrottlesAlarm`]),
    ...processors.map((name) => `${pascal(name)}QueueAgeAlarm`),
  ];
  const pairs = regions.map((region) => ({ 'Fn::If': [peerCondition(region), on(peerAlarm(region)), 'FALSE'] }));
  return [...names.map(on), ...pairs];
};
