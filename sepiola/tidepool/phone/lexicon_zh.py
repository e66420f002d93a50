"""Chinese words that open values are made of: names, goods, dishes, groceries, places, messages.

`{made}` is a word of two characters that no list holds.
"""

from __future__ import annotations

WORDS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split())
    for name, words in {
        "syllable": "云 山 海 月 星 林 江 石 青 白 金 玉 春 秋 安 和 长 永 新 东 南 华 川 福 明 清 雅 文 思 宁 远 景 "
        "兰 竹 梅 松 鹤 龙 凤 泰 康 瑞 祥 嘉 乐 源 成 达",
        "surname": "王 李 张 刘 陈 杨 黄 赵 吴 周 徐 孙 马 朱 胡 郭 何 高 林 罗 郑 梁 谢 宋 唐 许 韩 冯 邓 曹 彭 "
        "曾 肖 田 董 袁 潘 蒋",
        "given": "伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 超 霞 平 刚 桂英 建国 子涵 浩然 欣怡 一诺 梓萱 "
        "宇轩 诗涵 俊杰 思远 雨桐 佳琪 晓东 志明 小红 海燕 文静 雪梅",
        "kin": "妈妈 爸爸 奶奶 舅舅 姑姑 表哥 老板 房东 班长 教练 王老师 李医生 张师傅 陈经理 周律师 刘主任 邻居 "
        "室友",
        "adj": "红色 蓝色 黑色 白色 绿色 小号 大号 木制 折叠 静音 防水 无线 银色 轻便 柔软 旧 新 圆形 条纹 真皮 "
        "不锈钢 纯棉 便携 电动 加厚 简约 迷你 复古",
        "noun": "台灯 水壶 笔记本 书包 充电器 毛毯 帐篷 镜子 梯子 电钻 打气筒 净水器 瑜伽垫 枕头 键盘 显示器 "
        "打印机 行李箱 雨衣 头盔 手电筒 烤面包机 平底锅 咖啡机 闹钟 相框 书架 办公椅 吸尘器 吊床 睡袋 望远镜 "
        "小提琴 拼图 棋盘 画笔 针线盒 工具箱 水管 手推车 门垫 窗帘 蜡烛 花瓶 保温杯 饭盒 麦克风 音箱 三脚架 围巾 "
        "毛衣 皮带 凉鞋 桌游 日历 订书机 地毯 风扇 暖风机 吹风机 剃须刀 浴袍 毛巾 篮子 狗绳 猫爬架 鱼缸 滑板 "
        "跳绳 哑铃 网球拍 口哨",
        "english": "Kindle AirPods iPad USB-C充电线 GoPro Switch手柄 HDMI线 Bluetooth耳机 LED灯带 MagSafe支架",
        "method": "红烧 清蒸 麻辣 糖醋 香煎 椒盐 葱爆 干煸 水煮 酱爆 蒜蓉 孜然 酸辣 宫保 鱼香 炭烤 油焖 凉拌 "
        "黑椒 咖喱",
        "base": "牛肉 鸡丁 排骨 豆腐 茄子 土豆丝 鲈鱼 虾仁 肉丝 羊肉 白菜 蘑菇 鸭腿 里脊 肥肠 鱿鱼 藕片 豆角 "
        "花菜 牛腩 鸡翅 面 炒饭 米线 馄饨 煲仔饭 盖浇饭 火锅 粥 春卷",
        "grocery": "大米 黄油 洋葱 柠檬 橄榄油 酱油 面粉 白糖 燕麦 酸奶 菠菜 黄瓜 大蒜 生姜 土豆 青椒 香菇 "
        "西葫芦 牛油果 芒果 桃子 李子 蓝莓 蜂蜜 芥末 醋 花生酱 果酱 咖啡 绿茶 橙汁 苏打水 豆腐 三文鱼 鸡胸肉 "
        "培根 虾 扁豆 意面 饼干 核桃 杏仁 葡萄干 桂皮 罗勒 洗洁精 餐巾纸 芹菜 韭菜 南瓜 萝卜 甜菜 生菜 玉米 豌豆 "
        "椰奶 木耳 粉丝 腐竹",
        "waste": "罐 瓶 盒 托盘 杯 管 盖 袋 包装 壶 桶 信封 杂志 吸管 皮 箔纸 纸板 勺子 电线 碗",
        "content": "果酱 泡菜 汽水 洗发水 麦片 金枪鱼 油漆 酸奶 番茄酱 牛奶 果汁 鸡蛋 礼品 披萨 鞋 牙膏 猫粮 "
        "洗衣液 红酒 香水 蜂蜜 豆子 咖啡 沙拉",
        "kind": "路 街 广场 公园 站 图书馆 酒店 健身房 大桥 机场 商场 礼堂 诊所 咖啡馆 市场 小区",
        "cuisine": "饭店 小馆 酒楼 面馆 烧烤店 餐厅 食堂 小厨 火锅店 粥铺 茶餐厅",
        "spot": "42路公交车上 三号站台 前台 游泳池 停车场 B7登机口 二楼 食堂 报告厅 地铁九号线 操场 大厅 215教室 "
        "轮渡上 18号柜 健身房",
        "lost": "钱包 雨伞 电脑 护照 围巾 戒指 项链 外套 相机 笔记本 耳环 水杯 学生证 头盔 平板 墨镜 手套 玩具熊 "
        "钥匙 琴盒 饭盒 帽子 手链 充电器 行李箱 手表 画本 助听器 充电宝",
        "event": "会议 聚会 旅行 野餐 音乐会 排练 午餐 面试 讲座 婚礼 考试 比赛 体检 晚饭 烧烤 拍卖 同学会 演出",
        "when": "今晚 傍晚 午饭后 中午前 九点 一小时后 周一 下周 这个周末 晚点 下班后 赛前 两点半 六点左右 明早",
        "doing": "等车 加班 做饭 买菜 复习 堵在路上 收拾行李 睡觉 画画 修屋顶 走路回家 上火车 看电影 写报告 打扫",
        "topic": "税务规定 海龟 面包做法 太阳能板 列车时刻 潮汐表 鸟叫声 爵士乐历史 膝盖疼 苔藓养护 象棋开局 "
        "房价 黑洞 瑜伽动作 特价机票 签证材料 降雨雷达 马拉松计划 风筝图纸 小提琴课 星图 甲虫种类 二手车",
        "pet": "旺财 小白 豆豆 咪咪 团子 布丁 雪球 可乐 芝麻 花花 球球 汤圆 阿福 奶茶",
        "domain": "mail.cn post.cn home.com work.cn school.edu.cn",
        "latin": "lin wang zhao chen yu fang ming hao xue ting jun bo qing shan",
    }.items()
}  # fmt: skip

VALUES: dict[str, tuple[str, ...]] = {
    "person": ("{surname}{given}", "{surname}{given}", "{kin}", "小{made1}", "{surname}{made1}"),
    "email": ("{latin}{latin}@{domain}", "{latin}{number}@{domain}", "{latin}.{latin}{number}@{domain}"),
    "product": ("{noun}", "{adj}{noun}", "{made}{noun}", "{adj}{made}{noun}", "{english}", "{made}{english}"),
    "dish": ("{method}{base}", "{made}{base}", "{made}{method}{base}", "{base}"),
    "grocery": ("{grocery}", "{made}{grocery}", "{grocery}"),
    "waste": ("{content}{waste}", "{adj}{content}{waste}", "{made}{content}{waste}"),
    "restaurant": ("{made}{cuisine}", "{made}{made1}", "老{surname}{cuisine}", "{surname}记{cuisine}", "{made}"),
    "place": ("{made}{kind}", "{spot}", "{made}{kind}", "{surname}家{kind}"),
    "town": ("{made}", "{made}市", "{made}{kind}", "{made}{kind}", "{surname}家{kind}"),
    "lost": ("{lost}", "{adj}{lost}", "{made}牌{lost}", "{adj}{made}{lost}"),
    "pet_name": ("{pet}", "{made}", "小{made1}"),
    "tag": ("{number}", "{letter}-{number}", "{letter}{number}"),
    "query": (
        "{topic}", "{made}{topic}", "{adj}{noun}评测", "怎么清洗{adj}{noun}", "{made}{kind}几点开门",
        "{made}{kind}附近的{base}",
        "{made}{event}", "{made}天气", "{made}的历史", "哪里买{noun}", "{method}{base}的做法",
    ),
    "subject": (
        "{when}的{event}", "{adj}{noun}", "去{made}旅行", "{topic}笔记", "{made}{event}", "你的{noun}",
        "关于{topic}的问题",
        "{surname}{given}的消息", "和{kin}的{event}", "发票{number}",
    ),
    "message": (
        "我{when}带{adj}{noun}过去", "{noun}在{made}{kind}", "我和{kin}在{doing}", "我的{adj}{noun}坏了",
        "{surname}{given}喜欢这个{noun}",
        "{event}改到{made}{kind}", "你的{lost}落在{spot}了", "{when}吃饭", "还需要一个{adj}{noun}", "我在{doing}",
        "{event}{when}开始", "我找到{adj}{lost}了", "{kin}{when}在{doing}", "{grocery}和{grocery}用完了",
        "{topic}在第{number}页",
        "我{when}给你打电话", "{noun}要{number}块钱", "我{when}去不了{event}", "{made}赢了{event}",
    ),
}  # fmt: skip
