import { badField } from '../checks.ts';

/** Sizes that may autoscale; larger ones (18 to 56, even) are of fixed size. */
const AUTOSCALE_MAX_CU = 16;
const FIXED_MAX_CU = 56;
const SPREAD_MAX_CU = 8;

export const DEFAULT_CU = 0.25;

export interface ComputeSize {
  readonly minCu: number;
  readonly maxCu: number;
}

/**
 * @param prefix of the fields in messages, such as `endpoint.`
 * @throws PlatformError INVALID_REQUEST
 */
export function checkComputeSize({ minCu, maxCu }: ComputeSize, prefix: string): ComputeSize {
  const minField = `${prefix}autoscaling_limit_min_cu`;
  const maxField = `${prefix}autoscaling_limit_max_cu`;
  for (const [field, cu] of [
    [minField, minCu],
    [maxField, maxCu],
  ] as const) {
    if (!isSize(cu)) throw badField(field, '0.25, 0.5, 1 to 16, or an even number from 18 to 56');
  }
  if (minCu > maxCu) throw badField(minField, `at most ${maxField} (${maxCu})`);
  if (minCu === maxCu) return { minCu, maxCu };
  if (maxCu > AUTOSCALE_MAX_CU) {
    throw badField(minField, `the same as ${maxField} above ${AUTOSCALE_MAX_CU}: sizes above it are fixed`);
  }
  if (maxCu - minCu > SPREAD_MAX_CU) throw badField(maxField, `at most ${SPREAD_MAX_CU} above ${minField} (${minCu})`);
  return { minCu, maxCu };
}

function isSize(cu: number): boolean {
  if (cu === 0.25 || cu === 0.5) return true;
  if (!Number.isInteger(cu) || cu < 1 || cu > FIXED_MAX_CU) return false;
  return cu <= AUTOSCALE_MAX_CU || cu % 2 === 0;
}
