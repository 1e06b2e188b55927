package peer;

import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.Cache;
import org.rocksdb.CompressionType;
import org.rocksdb.DataBlockIndexType;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.WriteBufferManager;

import java.util.Map;

/** One block cache and one budget of write buffers for all stores of the process. Bloom filters, as most reads miss. */
public final class RocksTuning implements RocksDBConfigSetter {
    private static final long MIB = 1 << 20;
    private static Cache cache;
    private static WriteBufferManager buffers;

    private static synchronized void share() {
        if (cache != null) return;
        cache = new LRUCache(512 * MIB);
        buffers = new WriteBufferManager(1024 * MIB, cache);
    }

    @Override public void setConfig(String store, Options options, Map<String, Object> settings) {
        share();
        BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
        table.setBlockCache(cache);
        table.setFilterPolicy(new BloomFilter(10, false));
        table.setWholeKeyFiltering(true);
        table.setBlockSize(8 * 1024);
        table.setFormatVersion(5);
        table.setDataBlockIndexType(DataBlockIndexType.kDataBlockBinaryAndHash);
        options.setTableFormatConfig(table);
        options.setWriteBufferManager(buffers);
        options.setWriteBufferSize(32 * MIB);
        options.setMaxWriteBufferNumber(3);
        options.setMemtableWholeKeyFiltering(true);
        options.setMemtablePrefixBloomSizeRatio(0.1);
        options.setCompressionType(CompressionType.LZ4_COMPRESSION);
        options.setMaxBackgroundJobs(2);
        options.setStatsDumpPeriodSec(0);
    }

    /** Closes nothing: cache and buffers live as long as the process. */
    @Override public void close(String store, Options options) {}
}
