import java.io.StringReader;
import java.sql.*;
import java.util.ArrayList;
import java.util.List;
import org.postgresql.PGConnection;

/** pgjdbc with the URL that a user makes of the connection URI; prints one JSON object. */
public class JdbcClient {
  public static void main(String[] args) throws Exception {
    try (Connection connection = DriverManager.getConnection(args[0]); Statement statement = connection.createStatement()) {
      int simple = number(statement, "SELECT 40 + 2");
      List<Integer> prepared = new ArrayList<>();
      try (PreparedStatement query = connection.prepareStatement("SELECT ?::int * 2")) {
        // From the fifth run on, pgjdbc prepares on the server.
        for (int n = 1; n <= 7; n++) {
          query.setInt(1, n);
          ResultSet row = query.executeQuery();
          row.next();
          prepared.add(row.getInt(1));
        }
      }
      statement.execute("CREATE TABLE jdbc_t (id int PRIMARY KEY)");
      connection.setAutoCommit(false);
      statement.execute("INSERT INTO jdbc_t VALUES (1)");
      connection.rollback();
      statement.execute("INSERT INTO jdbc_t VALUES (2)");
      connection.commit();
      int rows = number(statement, "SELECT sum(id) FROM jdbc_t");
      String sqlstate = "";
      try {
        statement.executeQuery("SELECT 1 / 0");
      } catch (SQLException error) {
        sqlstate = error.getSQLState();
        connection.rollback();
      }
      int large = 0;
      try (Statement cursor = connection.createStatement()) {
        cursor.setFetchSize(1000);
        ResultSet all = cursor.executeQuery("SELECT i, repeat('x', 100) FROM generate_series(1, 100000) i");
        while (all.next()) large++;
      }
      connection.commit();
      StringBuilder lines = new StringBuilder();
      for (int n = 10; n < 1010; n++) lines.append(n).append('\n');
      connection.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY jdbc_t FROM STDIN", new StringReader(lines.toString()));
      connection.commit();
      int copied = number(statement, "SELECT count(*) FROM jdbc_t WHERE id >= 10");
      System.out.printf(
          "{\"simple\":%d,\"prepared\":%s,\"rows\":[%d],\"sqlstate\":\"%s\",\"large\":%d,\"copied\":%d}%n",
          simple, prepared, rows, sqlstate, large, copied);
    }
  }

  private static int number(Statement statement, String sql) throws SQLException {
    ResultSet row = statement.executeQuery(sql);
    row.next();
    return row.getInt(1);
  }
}
