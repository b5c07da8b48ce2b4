// The reports that AWS makes by itself, from the stage file: the condition of deploy/resources/schedule.yml, a schedule for
// each suite, and what the project's role may do, which is what `ops policy` says of the suites' runbooks.
'use strict';

const { execFileSync } = require('node:child_process');
const { pascal } = require('./alarms.cjs');

const settings = async (resolveVariable) => (await resolveVariable('self:custom.stage')).schedule || null;

// A value of its own: the linter takes conditions that compare the same texts for one.
module.exports.condition = async ({ resolveVariable }) => ({
  'Fn::And': [
    { Condition: 'IsHome' },
    { 'Fn::Equals': [(await settings(resolveVariable)) ? 'scheduled' : 'no', 'scheduled'] },
  ],
});

// A private repository is read by a connection, which the project's role has to be able to use.
module.exports.connected = async ({ resolveVariable }) => ({
  'Fn::And': [
    { Condition: 'Scheduled' },
    { 'Fn::Equals': [(await settings(resolveVariable))?.source.connection ? 'connected' : 'no', 'connected'] },
  ],
});

// The source is an archive in a bucket, which the project's role has to be able to read.
module.exports.fromBucket = async ({ resolveVariable }) => ({
  'Fn::And': [
    { Condition: 'Scheduled' },
    { 'Fn::Equals': [(await settings(resolveVariable))?.source.type === 'S3' ? 'bucket' : 'no', 'bucket'] },
  ],
});

// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
module.exports.schedules = async ({ resolveVariable }) => {
  const { suites = {} } = (await settings(resolveVariable)) || {};
  const prefix = await resolveVariable('self:custom.prefix');
  const schedule = ([suite, { cron, time_zone: zone }]) => ({
    Type: 'AWS::Scheduler::Schedule',
    Condition: 'Scheduled',
    Properties: {
      Name: `${prefix}-${suite}`,
      GroupName: { Ref: 'ScheduleGroup' },
      Description: `Has the suite ${suite} reported on`,
      ScheduleExpression: cron,
      ScheduleExpressionTimezone: zone || 'UTC',
      FlexibleTimeWindow: { Mode: 'OFF' },
      Target: {
        Arn: { 'Fn::Sub': 'arn:${AWS::Partition}:scheduler:::aws-sdk:codebuild:startBuild' },
        RoleArn: { 'Fn::GetAtt': ['SchedulerRole', 'Arn'] },
        Input: JSON.stringify({
          ProjectName: `${prefix}-reports`,
          EnvironmentVariablesOverride: [{ Name: 'SUITE', Value: suite, Type: 'PLAINTEXT' }],
        }),
        // A report that is an hour late is better than none; one of yesterday is not.
        RetryPolicy: { MaximumRetryAttempts: 5, MaximumEventAgeInSeconds: 3600 },
        DeadLetterConfig: { Arn: { 'Fn::GetAtt': ['AsyncDlq', 'Arn'] } },
      },
    },
  });
  return Object.fromEntries(Object.entries(suites).map((one) => [`Schedule${pascal(one[0])}`, schedule(one)]));
};

const documents = (stage) =>
  JSON.parse(
    execFileSync('.venv/bin/python', ['-m', 'ops.policies.suites', stage, 'deploy/stages'], {
      encoding: 'utf8',
      maxBuffer: 4 << 20,
    })
  );

// As many managed policies as the statements take: 6,144 characters each.
module.exports.policies = async ({ resolveVariable }) => {
  if (!(await settings(resolveVariable))) return {};
  const prefix = await resolveVariable('self:custom.prefix');
  const policy = (document, number) => ({
    Type: 'AWS::IAM::ManagedPolicy',
    Condition: 'Scheduled',
    Properties: {
      ManagedPolicyName: `${prefix}-reports-${number + 1}`,
      Description: 'What the runbooks of the scheduled suites look at',
      Roles: [{ Ref: 'ReportsRole' }],
      PolicyDocument: JSON.parse(JSON.stringify(document), (key, value) =>
        typeof value === 'string' && value.includes('${') ? { 'Fn::Sub': value } : value
      ),
    },
  });
  const made = documents(await resolveVariable('self:custom.stage.stage'));
  return Object.fromEntries(made.map((document, number) => [`ReportsPolicy${number + 1}`, policy(document, number)]));
};
