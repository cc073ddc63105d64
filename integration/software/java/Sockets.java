// Sockets by java.nio and java.net: a selector with many clients, Unix-domain sockets, datagrams,
// asynchronous channels, and threads that are woken in blocking calls by a signal.

import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;

public class Sockets {
    private static final InetAddress LOOPBACK = InetAddress.getLoopbackAddress();

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "selector" -> selector();
            case "unix" -> unix();
            case "datagram" -> datagram();
            case "asynchronous" -> asynchronous();
            case "wake" -> wake();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** One thread with a selector echoes what 20 clients send. */
    private static void selector() throws Exception {
        ServerSocketChannel server = ServerSocketChannel.open().bind(new InetSocketAddress(LOOPBACK, 0));
        Thread echo = new Thread(() -> {
            try {
                echo(server, 20);
            } catch (Exception e) {
                e.printStackTrace();
            }
        });
        echo.start();
        Thread[] clients = new Thread[20];
        int[] right = new int[clients.length];
        for (int i = 0; i < clients.length; i++) {
            int number = i;
            clients[i] = new Thread(() -> {
                try (SocketChannel client = SocketChannel.open(server.getLocalAddress())) {
                    for (int value = 0; value < 50; value++) {
                        ByteBuffer buffer = ByteBuffer.allocate(4).putInt(number * 1000 + value).flip();
                        client.write(buffer);
                        buffer.clear();
                        while (buffer.hasRemaining() && client.read(buffer) >= 0) { }
                        right[number] += buffer.getInt(0) == number * 1000 + value ? 1 : 0;
                    }
                } catch (Exception e) {
                    e.printStackTrace();
                }
            });
            clients[i].start();
        }
        int sum = 0;
        for (int i = 0; i < clients.length; i++) {
            clients[i].join();
            sum += right[i];
        }
        echo.join();
        System.out.println("echoed " + sum);
    }

    private static void echo(ServerSocketChannel server, int clients) throws Exception {
        Selector selector = Selector.open();
        server.configureBlocking(false);
        server.register(selector, SelectionKey.OP_ACCEPT);
        for (int ended = 0; ended < clients;) {
            selector.select();
            for (SelectionKey key : selector.selectedKeys()) {
                if (key.isAcceptable()) {
                    SocketChannel client = server.accept();
                    client.configureBlocking(false);
                    client.register(selector, SelectionKey.OP_READ);
                    continue;
                }
                SocketChannel client = (SocketChannel) key.channel();
                ByteBuffer buffer = ByteBuffer.allocate(64);
                if (client.read(buffer) < 0) {
                    client.close();
                    ended++;
                } else {
                    client.write(buffer.flip());
                }
            }
            selector.selectedKeys().clear();
        }
    }

    private static void unix() throws Exception {
        UnixDomainSocketAddress address = UnixDomainSocketAddress.of(Path.of("socket"));
        try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            server.bind(address);
            SocketChannel client = SocketChannel.open(address);
            SocketChannel accepted = server.accept();
            client.write(ByteBuffer.wrap("by a path".getBytes()));
            ByteBuffer buffer = ByteBuffer.allocate(64);
            accepted.read(buffer);
            System.out.println(new String(buffer.array(), 0, buffer.position()));
            System.out.println(accepted.getLocalAddress());
            client.close();
            System.out.println("end " + accepted.read(buffer));
        }
    }

    private static void datagram() throws Exception {
        try (DatagramSocket a = new DatagramSocket(0, LOOPBACK); DatagramSocket b = new DatagramSocket(0, LOOPBACK)) {
            a.send(new DatagramPacket(new byte[1000], 1000, LOOPBACK, b.getLocalPort()));
            DatagramPacket packet = new DatagramPacket(new byte[2000], 2000);
            b.receive(packet);
            System.out.println("received " + packet.getLength() + ' ' + (packet.getPort() == a.getLocalPort()));
            b.setSoTimeout(50);
            b.receive(packet);
        } catch (SocketTimeoutException e) {
            System.out.println("timeout");
        }
    }

    private static void asynchronous() throws Exception {
        AsynchronousServerSocketChannel server =
            AsynchronousServerSocketChannel.open().bind(new InetSocketAddress(LOOPBACK, 0));
        var accepted = server.accept();
        AsynchronousSocketChannel client = AsynchronousSocketChannel.open();
        client.connect(server.getLocalAddress()).get();
        AsynchronousSocketChannel other = accepted.get();
        ByteBuffer buffer = ByteBuffer.allocate(16);
        var reading = other.read(buffer);
        System.out.println("early " + reading.isDone());
        client.write(ByteBuffer.wrap("later".getBytes())).get();
        System.out.println("read " + reading.get());
        System.exit(0);
    }

    /** Threads in accept() and read() are woken when their socket is closed or they are interrupted. */
    private static void wake() throws Exception {
        ServerSocket listening = new ServerSocket(0, 1, LOOPBACK);
        Thread acceptor = new Thread(() -> {
            try {
                listening.accept();
            } catch (SocketException e) {
                System.out.println("accept: " + e.getMessage());
            } catch (Exception e) {
                System.out.println(e);
            }
        });
        acceptor.start();
        Thread.sleep(200);
        listening.close();
        acceptor.join();

        ServerSocketChannel server = ServerSocketChannel.open().bind(new InetSocketAddress(LOOPBACK, 0));
        SocketChannel client = SocketChannel.open(server.getLocalAddress());
        Thread reader = new Thread(() -> {
            try {
                client.read(ByteBuffer.allocate(1));
            } catch (ClosedByInterruptException e) {
                System.out.println("read: interrupted " + Thread.currentThread().isInterrupted());
            } catch (Exception e) {
                System.out.println(e);
            }
        });
        reader.start();
        Thread.sleep(200);
        reader.interrupt();
        reader.join();
        try (Socket refused = new Socket(LOOPBACK, listening.getLocalPort() == -1 ? 1 : listening.getLocalPort())) {
            System.out.println("connected " + refused);
        } catch (SocketException e) {
            System.out.println(e.getMessage());
        }
    }
}
