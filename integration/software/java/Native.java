// Calls C, which calls back: from the thread that came, and from threads that C made itself.

public class Native {
    private static int calls;

    static {
        System.loadLibrary("native");
    }

    static native int sum(int[] values);

    static native void fromThreads(int threads);

    static native void fail(String words);

    static synchronized void called(String words) {
        calls++;
    }

    public static void main(String[] args) {
        System.out.println("sum " + sum(new int[] {1, 2, 39}));
        fromThreads(10);
        System.out.println("calls " + calls);
        try {
            fail("thrown in C");
        } catch (IllegalArgumentException e) {
            System.out.println(e.getMessage());
        }
    }
}
