import { OPTIONS } from './definition.ts';
import { VARIABLE_PREFIX } from './option.ts';
import { type Problem, suggest } from './problem.ts';
import type { Given, Setting } from './setting.ts';

/** Names the configuration file. */
export const FILE_VARIABLE = 'TRIBUTARY_CONFIG';

const BY_VARIABLE = new Map(OPTIONS.map((named) => [named.variable, named]));
const KNOWN_VARIABLES = [FILE_VARIABLE, ...BY_VARIABLE.keys()];

/**
 * Kubernetes gives every container variables for each Service, so a Service that is called tributary-something makes names that begin like
 * ours (Kubernetes documentation, "Accessing the Service"): T_SERVICE_HOST, T_SERVICE_PORT[_NAME], T_PORT and T_PORT_80_TCP[_ADDR|_PORT|_PROTO].
 */
const SERVICE_VARIABLE = /_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?$/;
const SERVICE_URL = /^(tcp|udp|sctp):\/\//;

/** A variable that is empty counts as not set, as OpenTelemetry's do. */
export function readEnvironment(environment: NodeJS.ProcessEnv): Given {
  const settings: Setting[] = [];
  const problems: Problem[] = [];
  for (const [variable, text = ''] of Object.entries(environment)) {
    if (!variable.startsWith(VARIABLE_PREFIX) || variable === FILE_VARIABLE || text === '') continue;
    const named = BY_VARIABLE.get(variable);
    if (named !== undefined) {
      settings.push({ named, given: named.option.kind.fromText(text), source: 'environment', where: variable });
    } else if (!isOfService(variable, text)) {
      problems.push({ where: variable, what: `is the variable of no option${suggest(variable, KNOWN_VARIABLES)}` });
    }
  }
  return { settings, problems };
}

function isOfService(variable: string, text: string): boolean {
  return SERVICE_VARIABLE.test(variable) || (variable.endsWith('_PORT') && SERVICE_URL.test(text));
}
