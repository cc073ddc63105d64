// Waits to be looked at by jcmd, jstack and their kin, with a thread that they should find.

public class Attach {
    public static void main(String[] args) throws Exception {
        Object monitor = new Object();
        Thread waiting = new Thread(() -> {
            synchronized (monitor) {
                try {
                    monitor.wait();
                } catch (InterruptedException e) {
                    System.out.println("interrupted");
                }
            }
        }, "waits-for-ever");
        waiting.start();
        System.out.println("ready");
    }
}
