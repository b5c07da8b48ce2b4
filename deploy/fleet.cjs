// Whether the stage has a fleet, and what the package of the function `sketch` holds beside Python: the native core of sketch/, where one was built that
// runs on the stage's functions. Built elsewhere, or against a newer C library, it would fail at the function's start:
// then it is left out, the Python reference takes its place with the same results, and the stack's output FleetSketch,
// the run's plan and each sketch say so.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

// ELF's name of the processor: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html (e_machine)
const MACHINES = { x86_64: 0x3e, arm64: 0xb7 };
// python3.11 runs on Amazon Linux 2: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html, whose C library
// is 2.26: https://docs.aws.amazon.com/AL2/latest/relnotes/relnotes-al2.html
const PYTHON = '311';
const GLIBC = [2, 26];

const newer = ([major, minor]) => major > GLIBC[0] || (major === GLIBC[0] && minor > GLIBC[1]);

// Why an extension does not run on the functions; empty where it does.
const unfit = (name, content, architecture) => {
  if (content.subarray(0, 4).toString('latin1') !== '\x7fELF' || content[4] !== 2 || content[5] !== 1)
    return 'is no 64-bit ELF file';
  if (content.readUInt16LE(18) !== MACHINES[architecture]) return `was not built for ${architecture}`;
  if (!name.includes('.abi3.') && !name.includes(`.cpython-${PYTHON}-`)) return `was not built for Python ${PYTHON}`;
  if (content.includes('libasan.so') || content.includes('libubsan.so')) return 'was built with sanitizers';
  const needed = content.toString('latin1').match(/GLIBC_\d+\.\d+/g) || [];
  const beyond = needed.map((one) => one.slice(6).split('.').map(Number)).filter(newer);
  if (beyond.length) return `needs version ${beyond[0].join('.')} of the C library, and has ${GLIBC.join('.')}`;
  return '';
};

const found = async (resolveVariable) => {
  const architecture = await resolveVariable('self:custom.stage.lambda.architecture');
  const directory = path.resolve('sketch');
  const names = fs.existsSync(directory) ? fs.readdirSync(directory).filter((name) => name.endsWith('.so')) : [];
  return names.filter((name) => !unfit(name, fs.readFileSync(path.join(directory, name)), architecture));
};

module.exports.unfit = unfit;

// A value of its own: the linter takes conditions that compare the same texts for one.
module.exports.condition = async ({ resolveVariable }) => {
  const { divergence } = await resolveVariable('self:custom.stage');
  return { 'Fn::Equals': [divergence?.fleet ? 'fleet' : 'no', 'fleet'] };
};

module.exports.patterns = async ({ resolveVariable }) => [
  'sketch/**/*.py',
  ...(await found(resolveVariable)).map((name) => `sketch/${name}`),
];

module.exports.implementation = async ({ resolveVariable }) =>
  (await found(resolveVariable)).length ? 'native' : 'reference';
