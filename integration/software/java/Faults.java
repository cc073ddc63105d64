// Faults of the processor that the virtual machine of Java turns into exceptions: SIGSEGV where
// compiled code leaves out a check, SIGFPE, guard pages of stacks, SIGBUS of a file that shrank.

import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicInteger;

public class Faults {
    private static final class Node {
        int value = 1;
    }

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "null" -> nulls();
            case "divide" -> divisions();
            case "stack" -> stacks();
            case "bus" -> shrunkFile();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** Compiled code that has seen no null for long loads through it without looking. */
    private static void nulls() {
        Node node = new Node();
        long sum = 0;
        for (int i = 0; i < 200_000; i++) {
            sum += value(node);
        }
        int caught = 0;
        for (int i = 0; i < 1_000; i++) {
            try {
                sum += value(i % 2 == 0 ? null : node);
            } catch (NullPointerException e) {
                caught++;
            }
        }
        System.out.println("sum " + sum + " caught " + caught);
    }

    private static int value(Node node) {
        return node.value;
    }

    private static void divisions() {
        int caught = 0;
        int sum = 0;
        for (int i = 0; i < 300_000; i++) {
            try {
                sum += 1_000 / (i < 200_000 ? 1 + i % 10 : i % 10);
            } catch (ArithmeticException e) {
                caught++;
            }
        }
        System.out.println("sum " + sum + " caught " + caught);
    }

    private static void stacks() throws Exception {
        AtomicInteger caught = new AtomicInteger();
        Runnable overflow = () -> {
            for (int i = 0; i < 5; i++) {
                try {
                    System.out.println(recurse(0));
                } catch (StackOverflowError e) {
                    caught.incrementAndGet();
                }
            }
        };
        overflow.run();
        Thread[] threads = new Thread[8];
        for (int i = 0; i < threads.length; i++) {
            threads[i] = new Thread(null, overflow, "small", 256 * 1024);
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("caught " + caught);
    }

    private static int recurse(int depth) {
        return recurse(depth + 1) + 1;
    }

    private static void shrunkFile() throws Exception {
        Path path = Files.createTempFile(Path.of("."), "shrunk", "");
        Files.write(path, new byte[3 * 4096]);
        try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = file.map(FileChannel.MapMode.READ_WRITE, 0, 3 * 4096);
            file.truncate(4096);
            System.out.println("first page " + map.get(10));
            try {
                System.out.println("second page " + map.get(5000));
            } catch (InternalError e) {
                System.out.println("second page InternalError");
            }
        }
    }
}
