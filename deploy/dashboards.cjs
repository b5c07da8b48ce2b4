// The bodies of the dashboards: a region's own, and one with a line for each region on shared axes. Generated, because
// what is on them follows from the stage file: its regions, thresholds and names.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
'use strict';

const { pascal } = require('./alarms.cjs');

const WIDE = 24; // columns of CloudWatch's grid
const HIGH = 6;

// Rows of widgets, each row as wide as the grid; a widget is [type, properties].
const laidOut = (rows) =>
  JSON.stringify({
    widgets: rows.flatMap((row, index) =>
      row.map(([type, properties], column) => ({
        type,
        x: (WIDE / row.length) * column,
        y: HIGH * index,
        width: WIDE / row.length,
        height: HIGH,
        properties,
      }))
    ),
  });

// A chart; `limit` is [value, label] of the alarm on it.
const chart = (region, periodS, title, unit, metrics, limit) => [
  'metric',
  {
    title,
    region,
    view: 'timeSeries',
    stacked: false,
    period: periodS,
    metrics,
    yAxis: { left: { min: 0, label: unit, showUnits: false } },
    ...(limit && { annotations: { horizontal: [{ value: limit[0], label: limit[1] }] } }),
  },
];

const atoll = (stage, service, metric, options) => ['Atoll', metric, 'stage', stage, 'service', service, options];
const lambda = (prefix, metric, name, options) => ['AWS/Lambda', metric, 'FunctionName', `${prefix}-${name}`, options];
const queue = (prefix, metric, name, options) => ['AWS/SQS', metric, 'QueueName', `${prefix}-${name}`, options];
const percentiles = ['p50', 'p95', 'p99'];

async function settings(resolveVariable) {
  const names = ['stage', 'prefix', 'functions', 'processors', 'dlqs'];
  const values = await Promise.all(names.map((name) => resolveVariable(`self:custom.${name}`)));
  const found = Object.fromEntries(names.map((name, index) => [name, values[index]]));
  // A strongly consistent table has no latency of replication to show.
  const strong = found.stage.table.consistency === 'strong';
  // The function that reads for the divergence runbook shares the account's concurrency, and is no part of the platform.
  const running = found.stage.divergence?.fleet ? [...found.functions, 'sketch'] : found.functions;
  return { ...found, alarms: found.stage.alarms, regions: found.stage.regions, name: found.stage.stage, running, strong };
}

// Goes through Fn::Sub: ${AWS::Region} and the API are those of whichever region deploys it.
module.exports.region = async ({ resolveVariable }) => {
  const { alarms, dlqs, name, prefix, processors, running, strong } = await settings(resolveVariable);
  const of = (title, unit, metrics, limit) => chart('${AWS::Region}', alarms.period_s, title, unit, metrics, limit);
  const api = (metric, options) => ['AWS/ApiGateway', metric, 'ApiId', '${HttpApi}', options];
  const posting = ['ApiId', '${HttpApi}', 'Stage', '$default', 'Method', 'POST', 'Resource', '/events'];
  return laidOut([
    [
      of('Traffic', 'per period', [
        api('Count', { stat: 'Sum', label: 'requests' }),
        atoll(name, 'ingest', 'EventsAccepted', { stat: 'Sum', label: 'events accepted' }),
        atoll(name, 'store', 'EventsStored', { stat: 'Sum', label: 'events stored' }),
        atoll(name, 'query', 'Reads', { stat: 'Sum', label: 'reads' }),
      ]),
      of('Errors', 'per period', [
        api('5xx', { stat: 'Sum', label: '5xx' }),
        api('4xx', { stat: 'Sum', label: '4xx' }),
        atoll(name, 'ingest', 'EventsFailed', { stat: 'Sum', label: 'events not published' }),
        atoll(name, 'ingest', 'EventsRejected', { stat: 'Sum', label: 'events refused' }),
      ]),
      of(
        'Error rate',
        '% of requests',
        [
          [{ expression: '100 * errors / requests', label: '5xx, probes of /status included', id: 'rate' }],
          api('5xx', { stat: 'Sum', id: 'errors', visible: false }),
          api('Count', { stat: 'Sum', id: 'requests', visible: false }),
        ],
        [alarms.error_rate_percent, 'alarm (without probes)']
      ),
    ],
    [
      of(
        'Latency of POST /events',
        'ms',
        percentiles.map((stat) => ['AWS/ApiGateway', 'Latency', ...posting, { stat, label: stat }]),
        [alarms.p99_latency_ms, 'alarm on p99']
      ),
      of('Ingest, the function alone', 'ms', percentiles.map((stat) => atoll(name, 'ingest', 'IngestLatency', { stat, label: stat }))),
      of('Accepted to stored', 'ms', percentiles.map((stat) => atoll(name, 'store', 'EndToEndLatency', { stat, label: stat }))),
    ],
    [
      of(
        'Function errors',
        'per period',
        running.map((one) => lambda(prefix, 'Errors', one, { stat: 'Sum', label: one })),
        [alarms.function_errors, 'alarm']
      ),
      of(
        'Throttles',
        'per period',
        running.map((one) => lambda(prefix, 'Throttles', one, { stat: 'Sum', label: one })),
        [alarms.throttles, 'alarm']
      ),
      of('Concurrent executions', 'at once', running.map((one) => lambda(prefix, 'ConcurrentExecutions', one, { stat: 'Maximum', label: one }))),
    ],
    [
      of(
        'Age of the oldest message',
        's',
        processors.map((one) => queue(prefix, 'ApproximateAgeOfOldestMessage', one, { stat: 'Maximum', label: one })),
        [alarms.queue_age_s, 'alarm']
      ),
      of(
        'Messages waiting',
        'messages',
        processors.map((one) => queue(prefix, 'ApproximateNumberOfMessagesVisible', one, { stat: 'Maximum', label: one }))
      ),
      of(
        'Dead letters',
        'messages',
        dlqs.map((one) => queue(prefix, 'ApproximateNumberOfMessagesVisible', one, { stat: 'Maximum', label: one })),
        [alarms.dlq_depth, 'ticket']
      ),
    ],
    [
      ...(strong
        ? []
        : [
            of(
              'Replication latency to each region',
              'ms',
              // Whatever this region replicates to: a pair that is new appears by itself.
              [
                [
                  {
                    expression: `SEARCH('{AWS/DynamoDB,ReceivingRegion,TableName} MetricName="ReplicationLatency" TableName="${prefix}"', 'Average', ${alarms.period_s})`,
                    id: 'pairs',
                    label: '',
                  },
                ],
              ],
              [alarms.replication_latency_ms, 'alarm']
            ),
          ]),
      of('Duplicates and conflicts', 'events per period', [
        atoll(name, 'ingest', 'EventsDuplicate', { stat: 'Sum', label: 'sent again' }),
        atoll(name, 'store', 'EventsAlreadyStored', { stat: 'Sum', label: 'already stored' }),
        atoll(name, 'activity', 'EventsAlreadyCounted', { stat: 'Sum', label: 'already counted' }),
        atoll(name, 'store', 'EventsConflicting', { stat: 'Sum', label: 'conflicting' }),
      ]),
      of(
        'Health',
        'share of unhealthy answers',
        [atoll(name, 'status', 'Unhealthy', { stat: 'Average', label: '/status' })],
        [0.5, 'alarm']
      ),
    ],
  ]);
};

module.exports.across = async ({ resolveVariable }) => {
  const { alarms, dlqs, functions, name, prefix, processors, regions, stage, strong } = await settings(resolveVariable);
  const of = (title, unit, metrics, limit) => chart(stage.home_region, alarms.period_s, title, unit, metrics, limit);
  // One line a region of one metric.
  const each = (make) => regions.map((region) => make({ region, label: region }));
  // One line a region that sums up (SUM, MAX) hidden metrics.
  const together = (combine, parts) =>
    regions.flatMap((region) => {
      const id = (index) => `${pascal(region).toLowerCase()}${index}`;
      const hidden = parts.map((part, index) => part({ region, id: id(index), visible: false }));
      const ids = parts.map((_, index) => id(index)).join(', ');
      return [[{ expression: `${combine}([${ids}])`, label: region, region, id: `line${id('')}` }], ...hidden];
    });
  const pairs = (strong ? [] : regions).flatMap((source) =>
    regions
      .filter((target) => target !== source)
      .map((target) => [
        'AWS/DynamoDB', 'ReplicationLatency', 'TableName', prefix, 'ReceivingRegion', target,
        { stat: 'Average', region: source, label: `${source} to ${target}` },
      ])
  );
  return laidOut([
    [
      of('Events accepted', 'per period', each((options) => atoll(name, 'ingest', 'EventsAccepted', { stat: 'Sum', ...options }))),
      of('Events not published', 'per period', each((options) => atoll(name, 'ingest', 'EventsFailed', { stat: 'Sum', ...options }))),
      of('Ingest p99', 'ms', each((options) => atoll(name, 'ingest', 'IngestLatency', { stat: 'p99', ...options }))),
    ],
    [
      of('Accepted to stored, p99', 'ms', each((options) => atoll(name, 'store', 'EndToEndLatency', { stat: 'p99', ...options }))),
      of('Function errors', 'per period', together('SUM', functions.map((one) => (options) => lambda(prefix, 'Errors', one, { stat: 'Sum', ...options })))),
      of('Throttles', 'per period', together('SUM', functions.map((one) => (options) => lambda(prefix, 'Throttles', one, { stat: 'Sum', ...options })))),
    ],
    [
      of(
        'Age of the oldest message',
        's',
        together('MAX', processors.map((one) => (options) => queue(prefix, 'ApproximateAgeOfOldestMessage', one, { stat: 'Maximum', ...options }))),
        [alarms.queue_age_s, 'alarm']
      ),
      of(
        'Dead letters',
        'messages',
        together('SUM', dlqs.map((one) => (options) => queue(prefix, 'ApproximateNumberOfMessagesVisible', one, { stat: 'Maximum', ...options }))),
        [alarms.dlq_depth, 'ticket']
      ),
      of('Health', 'share of unhealthy answers', each((options) => atoll(name, 'status', 'Unhealthy', { stat: 'Average', ...options })), [0.5, 'alarm']),
    ],
    [
      // With one region there is no pair to draw, and none of a strongly consistent table.
      ...(pairs.length ? [of('Replication latency', 'ms', pairs, [alarms.replication_latency_ms, 'alarm'])] : []),
      of('Duplicates', 'events per period', each((options) => atoll(name, 'ingest', 'EventsDuplicate', { stat: 'Sum', ...options }))),
    ],
  ]);
};
