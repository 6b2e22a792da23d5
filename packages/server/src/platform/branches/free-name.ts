const NAME_LENGTH_MAX = 256;

/** The wanted name, shortened and numbered where it must be: `x`, `x 2`, `x 3`. The project must be locked. */
export async function freeName(wanted: string, isTaken: (name: string) => Promise<boolean>): Promise<string> {
  for (let n = 1; ; n += 1) {
    const suffix = n === 1 ? '' : ` ${n}`;
    const characters = Array.from(wanted).slice(0, NAME_LENGTH_MAX - suffix.length);
    const name = `${characters.join('')}${suffix}`;
    if (!(await isTaken(name))) return name;
  }
}
