// Ways in which a virtual machine of Java ends, and what it does before: the caller looks at the
// status.

import java.lang.reflect.Field;
import sun.misc.Signal;
import sun.misc.Unsafe;

public class Ends {
    public static void main(String[] args) throws Exception {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
        switch (args[0]) {
            case "exit" -> System.exit(42);
            case "halt" -> Runtime.getRuntime().halt(43);
            case "exception" -> throw new IllegalStateException("not caught");
            case "thread" -> new Thread(() -> {
                throw new IllegalStateException("not caught");
            }).start();
            case "signal" -> {
                Signal.raise(new Signal(args[1]));
                Thread.sleep(1_000_000);
            }
            case "handler" -> handler();
            case "crash" -> unsafe().putAddress(0, 0);
            case "memory" -> System.out.println(new long[Integer.MAX_VALUE - 8].length);
            case "sleep" -> {
                System.out.println("ready");
                Thread.sleep(1_000_000);
            }
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** A handler in Java for a signal that another process sends. */
    private static void handler() throws Exception {
        Thread main = Thread.currentThread();
        Signal.handle(new Signal("HUP"), signal -> {
            System.out.println("handled " + signal.getName());
            main.interrupt();
        });
        // Nobody waits for its end: the interruption would end that.
        new ProcessBuilder("sh", "-c", "kill -HUP " + ProcessHandle.current().pid()).start();
        try {
            Thread.sleep(1_000_000);
        } catch (InterruptedException e) {
            System.out.println("interrupted");
        }
    }

    private static Unsafe unsafe() throws Exception {
        Field field = Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        return (Unsafe) field.get(null);
    }
}
