// An HTTP server and clients that load it, in one process, over loopback.

import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

public class Http {
    public static void main(String[] args) throws Exception {
        int clients = Integer.parseInt(args[0]);
        int requests = Integer.parseInt(args[1]);
        ExecutorService workers = Executors.newFixedThreadPool(4);
        HttpServer server =
            HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setExecutor(workers);
        server.createContext("/echo", exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();

        URI uri = new URI("http://127.0.0.1:" + server.getAddress().getPort() + "/echo");
        AtomicLong received = new AtomicLong();
        ExecutorService pool = Executors.newFixedThreadPool(clients);
        for (int client = 0; client < clients; client++) {
            int number = client;
            pool.submit(() -> load(uri, number, requests, received));
        }
        pool.shutdown();
        System.out.println("ended " + pool.awaitTermination(5, TimeUnit.MINUTES));
        server.stop(0);
        workers.shutdown();
        System.out.println("received " + received);
        System.exit(0);
    }

    private static Void load(URI uri, int client, int requests, AtomicLong received) throws Exception {
        HttpClient http = HttpClient.newHttpClient();
        for (int i = 0; i < requests; i++) {
            String body = ("client " + client + " request " + i + ' ').repeat(1 + i % 40);
            HttpRequest request =
                HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofString(body)).build();
            HttpResponse<String> response = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (response.statusCode() == 200 && response.body().equals(body)) {
                received.addAndGet(body.length());
            } else {
                System.out.println("status " + response.statusCode() + ": " + response.body());
            }
        }
        return null;
    }
}
