//! The servers that are measured, and their clients.

/// What stands for the port in commands.
pub(crate) const PORT: &str = "PORT";

/// A server, and what is asked of it.
pub(crate) struct Server {
    /// Words between blanks.
    pub(crate) command: &'static str,
    pub(crate) clients: &'static [Client],
}

/// A client, and where in what it prints the number is: behind this text.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) command: &'static str,
    pub(crate) before: &'static str,
}

/// All of them, in the order of the table.
pub(crate) const SERVERS: [Server; 3] = [
    Server {
        command: "/usr/bin/redis-server --port PORT --bind 127.0.0.1",
        clients: &[
            Client {
                name: "redis GET, 50 clients, -P 1",
                command: "redis-benchmark -p PORT -c 50 -n 20000 -t get --csv",
                before: "\"GET\",\"",
            },
            Client {
                name: "redis GET, 50 clients, -P 16",
                command: "redis-benchmark -p PORT -c 50 -n 200000 -P 16 -t get --csv",
                before: "\"GET\",\"",
            },
        ],
    },
    Server {
        command: "/usr/sbin/nginx -c /work/nginx.conf",
        clients: &[Client {
            name: "nginx, wrk -c 50",
            command: "wrk -t 1 -c 50 -d 1s http://127.0.0.1:PORT/small",
            before: "Requests/sec:",
        }],
    },
    Server {
        command: "/usr/bin/setpriv --reuid=postgres --regid=postgres --clear-groups \
                  /usr/lib/postgresql/15/bin/postgres -D /work/pg -p PORT -c listen_addresses=127.0.0.1 \
                  -c unix_socket_directories= -c fsync=off -c dynamic_shared_memory_type=mmap",
        clients: &[Client {
            name: "pgbench -S -c 4",
            command: "/usr/lib/postgresql/15/bin/pgbench -n -S -c 4 -T 1 -h 127.0.0.1 -p PORT \
                      -U postgres postgres",
            before: "tps =",
        }],
    },
];

impl Server {
    pub(crate) fn argv(&self, port: &str) -> Vec<String> {
        words(self.command, port)
    }
}

impl Client {
    pub(crate) fn argv(&self, port: &str) -> Vec<String> {
        words(self.command, port)
    }
}

fn words(command: &str, port: &str) -> Vec<String> {
    command.split_whitespace().map(|word| word.replace(PORT, port)).collect()
}

/// One worker, in the foreground.
pub(crate) const NGINX: &str = "daemon off;\nuser root;\nworker_processes 1;\npid /work/nginx.pid;\nerror_log /dev/null;\n\
                     events {}\nhttp { access_log off; server { listen 127.0.0.1:PORT; root /work/www; } }\n";

/// Makes a cluster with pgbench's tables.
pub(crate) const POSTGRES: &str = "PATH=$PATH:/usr/lib/postgresql/15/bin; chown postgres /work/pg; cd /work/pg; \
    exec setpriv --reuid=postgres --regid=postgres --clear-groups sh -ec \
    'initdb --no-sync -A trust -D /work/pg; \
     pg_ctl -w -D /work/pg -l log -o \"-c fsync=off -c listen_addresses= -k /work/pg\" start; \
     pgbench -h /work/pg -i -s 1 postgres; pg_ctl -w -D /work/pg -m fast stop'";
