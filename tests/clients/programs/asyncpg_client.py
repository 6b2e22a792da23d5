"""asyncpg with a pasted connection URI; prints one JSON object."""
import asyncio, json, sys
import asyncpg


async def main():
    result = {"version": asyncpg.__version__}
    connection = await asyncpg.connect(sys.argv[1])
    result["simple"] = int((await connection.fetchval("SELECT 40 + 2")))
    statement = await connection.prepare("SELECT $1::int * 2")
    result["prepared"] = [await statement.fetchval(n) for n in (1, 2, 3)]
    await connection.execute("CREATE TABLE asyncpg_t (id int PRIMARY KEY)")
    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO asyncpg_t VALUES (1)")
            raise RuntimeError("roll back")
    except RuntimeError:
        pass
    async with connection.transaction():
        await connection.execute("INSERT INTO asyncpg_t VALUES (2)")
    result["rows"] = [row["id"] for row in await connection.fetch("SELECT id FROM asyncpg_t")]
    try:
        await connection.fetch("SELECT 1 / 0")
    except asyncpg.PostgresError as error:
        result["sqlstate"] = error.sqlstate
    result["large"] = len(await connection.fetch("SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i"))
    await connection.copy_records_to_table("asyncpg_t", records=[(n,) for n in range(10, 1010)])
    result["copied"] = await connection.fetchval("SELECT count(*) FROM asyncpg_t WHERE id >= 10")
    await connection.close()
    print(json.dumps(result))


asyncio.run(main())
