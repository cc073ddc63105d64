// Threads: pools, monitors, interrupts, timers, and thousands that live for a moment.

import java.lang.management.ManagementFactory;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.RecursiveTask;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;

public class Threads {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "pools" -> pools();
            case "monitors" -> monitors();
            case "interrupts" -> interrupts();
            case "timers" -> timers();
            case "short" -> shortLived();
            case "deadlock" -> deadlock();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    private static final class Fibonacci extends RecursiveTask<Integer> {
        private final int n;

        Fibonacci(int n) {
            this.n = n;
        }

        @Override
        protected Integer compute() {
            if (n < 2) {
                return n;
            }
            Fibonacci left = new Fibonacci(n - 1);
            left.fork();
            return new Fibonacci(n - 2).compute() + left.join();
        }
    }

    private static void pools() throws Exception {
        System.out.println("fibonacci " + new ForkJoinPool(8).invoke(new Fibonacci(18)));
        System.out.println("parallel " + IntStream.range(0, 100_000).parallel().filter(i -> i % 3 == 0).count());
        CompletableFuture<Integer> future = CompletableFuture.supplyAsync(() -> 20)
            .thenCombineAsync(CompletableFuture.supplyAsync(() -> 22), Integer::sum)
            .thenApplyAsync(i -> i * 10);
        System.out.println("future " + future.get());
        CompletableFuture<?>[] all = IntStream.range(0, 200)
            .mapToObj(i -> CompletableFuture.runAsync(() -> LockSupport.parkNanos(100_000)))
            .toArray(CompletableFuture[]::new);
        CompletableFuture.allOf(all).get();
        System.out.println("all done");
    }

    private static int counter;

    /** A monitor, a lock, a barrier and a map under contention lose nothing. */
    private static void monitors() throws Exception {
        ReentrantLock lock = new ReentrantLock(true);
        CyclicBarrier barrier = new CyclicBarrier(8);
        ConcurrentHashMap<Integer, Integer> map = new ConcurrentHashMap<>();
        int[] locked = new int[1];
        Thread[] threads = new Thread[8];
        for (int t = 0; t < threads.length; t++) {
            threads[t] = new Thread(() -> {
                for (int i = 0; i < 500; i++) {
                    synchronized (Threads.class) {
                        counter++;
                    }
                    lock.lock();
                    locked[0]++;
                    lock.unlock();
                    map.merge(i % 7, 1, Integer::sum);
                    if (i % 50 == 0) {
                        try {
                            barrier.await(1, TimeUnit.MINUTES);
                        } catch (Exception e) {
                            System.out.println(e);
                        }
                    }
                }
            });
            threads[t].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println(counter + " " + locked[0] + ' ' + map.values().stream().mapToInt(i -> i).sum());
    }

    private static void interrupts() throws Exception {
        Object monitor = new Object();
        CountDownLatch never = new CountDownLatch(1);
        Object[][] cases = {
            {"sleep", (Blocking) () -> Thread.sleep(1_000_000)},
            {"wait", (Blocking) () -> {
                synchronized (monitor) {
                    monitor.wait();
                }
            }},
            {"latch", (Blocking) never::await},
            {"join", (Blocking) () -> Thread.currentThread().join()},
        };
        for (Object[] one : cases) {
            Thread thread = new Thread(() -> {
                try {
                    ((Blocking) one[1]).run();
                } catch (InterruptedException e) {
                    System.out.println(one[0] + " interrupted");
                }
            });
            thread.start();
            Thread.sleep(50);
            thread.interrupt();
            thread.join();
        }
        Thread parked = new Thread(LockSupport::park);
        parked.start();
        LockSupport.unpark(parked);
        parked.join();
        System.out.println("unparked");
    }

    private interface Blocking {
        void run() throws InterruptedException;
    }

    private static void timers() throws Exception {
        ScheduledThreadPoolExecutor executor = new ScheduledThreadPoolExecutor(2);
        long start = System.nanoTime();
        CountDownLatch ticks = new CountDownLatch(20);
        executor.scheduleAtFixedRate(ticks::countDown, 5, 5, TimeUnit.MILLISECONDS);
        AtomicInteger order = new AtomicInteger();
        executor.schedule(() -> order.compareAndSet(1, 2), 600, TimeUnit.MILLISECONDS);
        executor.schedule(() -> order.compareAndSet(0, 1), 100, TimeUnit.MILLISECONDS);
        ticks.await();
        Thread.sleep(700);
        System.out.println("ordered " + order + " late " + (System.nanoTime() - start >= 700_000_000L));
        executor.shutdownNow();
        System.out.println("ended " + executor.awaitTermination(1, TimeUnit.MINUTES));
    }

    private static void shortLived() throws Exception {
        AtomicInteger ran = new AtomicInteger();
        for (int round = 0; round < 50; round++) {
            Thread[] threads = new Thread[20];
            for (int i = 0; i < threads.length; i++) {
                threads[i] = new Thread(ran::incrementAndGet);
                threads[i].start();
            }
            for (Thread thread : threads) {
                thread.join();
            }
        }
        System.out.println("ran " + ran);
    }

    private static void deadlock() throws Exception {
        Object[] locks = {new Object(), new Object()};
        CountDownLatch held = new CountDownLatch(2);
        for (int i = 0; i < 2; i++) {
            int first = i;
            Thread thread = new Thread(() -> {
                synchronized (locks[first]) {
                    held.countDown();
                    try {
                        held.await();
                    } catch (InterruptedException e) {
                        return;
                    }
                    synchronized (locks[1 - first]) {
                        System.out.println("no deadlock");
                    }
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
        long[] found = null;
        while (found == null) {
            Thread.sleep(20);
            found = ManagementFactory.getThreadMXBean().findDeadlockedThreads();
        }
        System.out.println("deadlocked " + found.length);
    }
}
