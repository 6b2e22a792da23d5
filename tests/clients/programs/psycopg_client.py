"""psycopg 3 with a pasted connection URI; prints one JSON object."""
import json, sys
import psycopg

result = {"version": psycopg.__version__}
with psycopg.connect(sys.argv[1]) as connection:
    result["simple"] = connection.execute("SELECT 40 + 2").fetchone()[0]
    rows = [connection.execute("SELECT %s::int * 2", [n], prepare=True).fetchone()[0] for n in (1, 2, 3)]
    result["prepared"] = rows
    connection.execute("CREATE TABLE psycopg_t (id int PRIMARY KEY)")
    connection.commit()
    connection.execute("INSERT INTO psycopg_t VALUES (1)")
    connection.rollback()
    with connection.transaction():
        connection.execute("INSERT INTO psycopg_t VALUES (2)")
    result["rows"] = [row[0] for row in connection.execute("SELECT id FROM psycopg_t")]
    connection.commit()
    try:
        connection.execute("SELECT 1 / 0")
    except psycopg.Error as error:
        result["sqlstate"] = error.sqlstate
        connection.rollback()
    large = connection.execute("SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i").fetchall()
    result["large"] = len(large)
    with connection.cursor() as cursor:
        with cursor.copy("COPY psycopg_t FROM STDIN") as copy:
            for n in range(10, 1010):
                copy.write_row([n])
    result["copied"] = connection.execute("SELECT count(*) FROM psycopg_t WHERE id >= 10").fetchone()[0]
print(json.dumps(result))
